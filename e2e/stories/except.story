# A range of addresses less a part of it, in both families: the part stays out, for packets to the world and from pods.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/inside on node-b address=10.10.2.20 address=fd00:10:0:2::20
  pod shop/excepted on node-b address=10.10.2.130 address=fd00:10:0:2::1:130
  serve outside TCP/443

apply blocks.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: blocks, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from:
          - ipBlock: {cidr: 10.10.2.0/24, except: [10.10.2.128/25]}
          - ipBlock: {cidr: "fd00:10:0:2::/64", except: ["fd00:10:0:2::1:0/112"]}
    egress:
      - to:
          - ipBlock: {cidr: 172.18.0.0/24, except: [172.18.0.96/28]}
          - ipBlock: {cidr: "fd00:18::/64"}

probe
  shop/inside -> shop/web TCP 80 Reached by NetworkPolicy/shop/blocks ingress[0]
  shop/excepted -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/blocks
  shop/web -> outside TCP 443 IPv4 TimedOut by NetworkPolicy/shop/blocks
  shop/web -> outside TCP 443 IPv6 Reached by NetworkPolicy/shop/blocks egress[0]
  shop/web -> shop/inside ICMP TimedOut by NetworkPolicy/shop/blocks
