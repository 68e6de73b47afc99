# A switch dies and comes back empty: until it is filled again nothing passes that policy forbids, and then all is as it was.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/near on node-a app=stranger
  pod shop/far on node-b app=stranger
  pod shop/friend on node-b app=friend

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: friends-only, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: friend}}}]

probe
  shop/friend -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]
  shop/near -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only

restart switch node-a while shop/near shop/far floods shop/web

eventually
  shop/friend -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]
  shop/near -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only
  shop/far -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only
  shop/web -> shop/far ICMP Reached
  node-a -> shop/web TCP 80 Reached
  shop/web -> node-b ICMP Reached
