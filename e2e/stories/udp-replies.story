# A pod that accepts nothing still gets the answers to what it asked, over UDP and TCP.

cluster
  pod shop/closed on node-a app=closed UDP/53
  pod shop/server on node-b UDP/53 TCP/80
  serve outside UDP/53

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: closed, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: closed}}

probe
  shop/closed -> shop/server UDP 53 Reached by nothing
  shop/closed -> shop/server TCP 80 Reached
  shop/closed -> shop/server TCP 81 Refused
  shop/closed -> outside UDP 53 Reached
  shop/server -> shop/closed UDP 53 TimedOut by NetworkPolicy/shop/closed
