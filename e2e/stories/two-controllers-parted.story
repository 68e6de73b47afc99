# A node and a controller lose each other without a word: the node obeys what the other says, and what it reports reaches everyone.

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

part node-a from controller 0
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

attach
  pod shop/late on node-a app=stranger
probe
  shop/late -> shop/web TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]

rejoin node-a with controller 0
part node-a from controller 1
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
  shop/late -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients

rejoin node-a with controller 1
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients
