# ICMP has no ports: only a rule without ports allows it. What belongs to an allowed connection passes: a refusal arrives.

cluster
  pod shop/web on node-a app=web UDP/53
  pod shop/client on node-b app=client
  pod shop/stranger on node-b

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: all-of-client, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]

probe
  shop/client -> shop/web ICMP Reached by NetworkPolicy/shop/all-of-client ingress[0]
  shop/stranger -> shop/web ICMP TimedOut by NetworkPolicy/shop/all-of-client
  shop/client -> shop/web UDP 54 Refused

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: all-of-client, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
        ports: [{protocol: UDP, port: 54}]

probe
  shop/client -> shop/web ICMP TimedOut
  shop/client -> shop/web UDP 53 TimedOut
  shop/client -> shop/web UDP 54 Refused
