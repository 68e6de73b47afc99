# One of two controllers stands still, with its connections: agents notice that the other is newer. When it goes on, long behind, it
# takes nothing back, also when it is alone.

cluster
  controllers 2
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client
  pod shop/stranger on node-b app=stranger

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients

pause controller 0
apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: strangers, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: stranger}}}]
probe
  shop/stranger -> shop/web TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]
  shop/client -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/strangers

resume controller 0
probe
  shop/stranger -> shop/web TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]
  shop/client -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/strangers

pause controller 1
apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients

attach
  pod shop/late on node-a app=web TCP/80
probe
  shop/client -> shop/late TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/late TCP 80 TimedOut by NetworkPolicy/shop/clients

# The one that knows all dies while the other is still behind.
stop controller 0
resume controller 1
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients
apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: strangers, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: stranger}}}]
probe
  shop/stranger -> shop/web TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]
  shop/client -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/strangers
