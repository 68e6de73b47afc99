# A cluster of IPv4 alone: nodes, pods and tunnels.

cluster
  node node-a addresses=172.18.0.11 pods=10.10.1.0/24
  node node-b addresses=172.18.0.12 pods=10.10.2.0/24
  pod shop/web on node-a app=web TCP/80 UDP/53
  pod shop/near on node-a app=near
  pod shop/far on node-b app=far
  serve outside TCP/443

probe
  shop/near -> shop/web TCP 80 IPv4 Reached
  shop/far -> shop/web TCP 80 IPv4 Reached
  shop/far -> shop/web TCP 80 IPv6 TimedOut
  shop/far -> shop/web ICMP IPv4 size=full Reached
  shop/far -> shop/web UDP 53 IPv4 size=full Reached
  shop/far -> shop/web TCP 80 IPv4 size=full Reached
  shop/far -> outside TCP 443 IPv4 seen=node-b Reached

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: near-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: near}}}]

probe
  shop/near -> shop/web TCP 80 IPv4 Reached by NetworkPolicy/shop/near-only ingress[0]
  shop/far -> shop/web TCP 80 IPv4 TimedOut by NetworkPolicy/shop/near-only
  node-a -> shop/web TCP 80 IPv4 Reached
