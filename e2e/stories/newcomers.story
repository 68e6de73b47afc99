# Who comes after a policy is as much its peer as who was there before: a new kind of pod joins a group that rules name already.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/friend on node-b app=friend
  pod shop/stranger on node-b app=stranger

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
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only

attach
  pod shop/newcomer on node-b app=friend tier=new
  pod shop/neighbor on node-a app=friend tier=near
  pod shop/passer on node-b app=stranger tier=new

probe
  shop/newcomer -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]
  shop/neighbor -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]
  shop/passer -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/friends-only

detach shop/newcomer
detach shop/neighbor

probe
  shop/friend -> shop/web TCP 80 Reached by NetworkPolicy/shop/friends-only ingress[0]
