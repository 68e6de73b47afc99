# A cluster of IPv6 alone: nodes, pods and tunnels, which take 20 bytes more of each packet.

cluster
  node node-a addresses=fd00:18::11 pods=fd00:10:0:1::/64
  node node-b addresses=fd00:18::12 pods=fd00:10:0:2::/64
  pod shop/web on node-a app=web TCP/80 UDP/53
  pod shop/near on node-a app=near
  pod shop/far on node-b app=far
  serve outside TCP/443

probe
  shop/near -> shop/web TCP 80 IPv6 Reached
  shop/far -> shop/web TCP 80 IPv6 Reached
  shop/far -> shop/web TCP 80 IPv4 TimedOut
  shop/far -> shop/web ICMP IPv6 size=full Reached
  shop/far -> shop/web UDP 53 IPv6 size=full Reached
  shop/far -> shop/web TCP 80 IPv6 size=full Reached
  shop/far -> outside TCP 443 IPv6 seen=node-b Reached

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: near-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: near}}}]

probe
  shop/near -> shop/web TCP 80 IPv6 Reached by NetworkPolicy/shop/near-only ingress[0]
  shop/far -> shop/web TCP 80 IPv6 TimedOut by NetworkPolicy/shop/near-only
  node-a -> shop/web TCP 80 IPv6 Reached
