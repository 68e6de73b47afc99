# Where only replies flow, policy is asked again all the same: a stream that is no longer allowed falls silent within a second.

cluster
  pod shop/server on node-a app=server UDP/5004
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client

open near shop/near -> shop/server UDP 5004
open far shop/far -> shop/server UDP 5004
stream near
stream far
streaming near yes
streaming far yes

apply unrelated.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: server}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]

streaming near yes
streaming far yes

apply unrelated.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: server}}

streaming near no
streaming far no
