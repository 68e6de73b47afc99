# A connection that policy no longer allows stops at its next packet, and speaks again when policy allows it again.

cluster
  pod shop/web on node-a app=web TCP/80 UDP/53
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client

open near shop/near -> shop/web TCP 80
open far shop/far -> shop/web TCP 80
open datagrams shop/far -> shop/web UDP 53
exchange near Reached
exchange far Reached
exchange datagrams Reached

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}

exchange near TimedOut
exchange far TimedOut
exchange datagrams TimedOut
probe
  shop/far -> shop/web TCP 80 TimedOut by no isolation; NetworkPolicy/shop/deny

remove deny.yaml

exchange near Reached
exchange far Reached
exchange datagrams Reached

apply egress.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: silence, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: client}}
    policyTypes: [Egress]

exchange near TimedOut
exchange far TimedOut
exchange datagrams TimedOut

remove egress.yaml

exchange near Reached
exchange far Reached
exchange datagrams Reached
