# Agents and the controller die and come back; what policy says goes on, and connections that it allows live through it.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client
  pod shop/stranger on node-b

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]

open kept shop/client -> shop/web TCP 80
restart agent node-a
exchange kept Reached
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients

restart agent node-b
restart controller
exchange kept Reached
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients ingress[0]
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/clients
