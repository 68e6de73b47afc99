# An agent that shows a certificate of another cluster is told nothing: its node goes on as it was. With one of its own cluster, which it
# finds without a restart, it obeys what has changed meanwhile.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client
  pod shop/stranger on node-b app=stranger

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: clients, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: client}}
    policyTypes: [Egress]
    egress:
      - to: [{podSelector: {matchLabels: {app: web}}}]
probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/clients egress[0]
  shop/client -> outside TCP 80 TimedOut by NetworkPolicy/shop/clients

open kept shop/client -> shop/web TCP 80
certify node-b by another cluster
antctl node-b get agentinfo
  NoController
apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: strangers, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: stranger}}
    policyTypes: [Egress]
probe
  shop/client -> shop/web TCP 80 Reached
  shop/client -> outside TCP 80 TimedOut
  shop/stranger -> shop/web TCP 80 Reached
exchange kept Reached

certify node-b
probe
  shop/client -> shop/web TCP 80 Reached
  shop/stranger -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/strangers
exchange kept Reached
antctl node-b get agentinfo
  node-b Ready
