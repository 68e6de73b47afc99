# Two controllers, of which one after the other dies and comes back: agents go on with the other, and obey what changes meanwhile.

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

open kept shop/client -> shop/web TCP 80
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients

stop controller 0
exchange kept Reached
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

attach
  pod shop/late on node-a app=web TCP/80
probe
  shop/stranger -> shop/late TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]
  shop/client -> shop/late TCP 80 TimedOut by NetworkPolicy/shop/strangers

start controller 0
stop controller 1
probe
  shop/stranger -> shop/web TCP 80 Reached by NetworkPolicy/shop/strangers ingress[0]
  shop/client -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/strangers
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
exchange kept Reached
