# Certificates that count for seconds are renewed again and again while policies change and connections live; an agent and a controller that
# come back long after the first ones have expired know each other by newer ones.

cluster
  controllers 2
  certificates 6s
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
certificates are renewed
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

restart agent node-a
stop controller 0
start controller 0
stop controller 1
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
