# Not one packet that policy forbids comes through while a pod starts; nor does a pod's leaving open its address to others.

cluster
  pod shop/near on node-a app=stranger
  pod shop/far on node-b app=stranger
  pod shop/friend on node-b app=friend

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: friends-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: friend}}}]

attach watched by shop/near shop/far
  pod shop/web on node-a app=web TCP/80 address=10.10.1.77 address=fd00:10:0:1::77

probe
  shop/near -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only
  shop/friend -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]

detach shop/web

attach
  pod shop/other on node-a app=other TCP/80 address=10.10.1.77 address=fd00:10:0:1::77

probe
  shop/near -> shop/other TCP 80 Reached by nothing
