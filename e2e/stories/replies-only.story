# Where only replies flow, policy is asked again all the same: a stream that is no longer allowed falls silent within a second.

cluster
  pod shop/server on node-a app=server UDP/5004
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client

open both shop/near -> shop/server UDP 5004
open both shop/far -> shop/server UDP 5004
stream both
streaming both yes

apply unrelated.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: server}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]

streaming both yes

apply unrelated.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: server}}

streaming both no
