# A connection that policy no longer allows stops at its next packet, and speaks again when policy allows it again.

cluster
  pod shop/web on node-a app=web TCP/80 UDP/53
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client

open them shop/near -> shop/web TCP 80
open them shop/far -> shop/web TCP 80
open them shop/far -> shop/web UDP 53
exchange them Reached

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}

exchange them TimedOut
probe
  shop/far -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/deny

remove deny.yaml

exchange them Reached

apply egress.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: silence, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: client}}
    policyTypes: [Egress]

exchange them TimedOut

remove egress.yaml

exchange them Reached
