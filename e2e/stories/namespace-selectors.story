# namespaceSelector alone takes whole namespaces, with podSelector it takes some of their pods, podSelector alone stays at home.

cluster
  namespace shop team=shop
  namespace blue team=blue
  namespace green team=green
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client
  pod blue/client on node-b app=client
  pod blue/other on node-a app=other
  pod green/client on node-a app=client

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: from, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{namespaceSelector: {matchLabels: {team: blue}}}]

probe
  blue/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/from ingress[0]
  blue/other -> shop/web TCP 80 Reached
  green/client -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/from
  shop/client -> shop/web TCP 80 TimedOut

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: from, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from:
          - namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [blue, green]}]}
            podSelector: {matchLabels: {app: client}}

probe
  blue/client -> shop/web TCP 80 Reached
  blue/other -> shop/web TCP 80 TimedOut
  green/client -> shop/web TCP 80 Reached
  shop/client -> shop/web TCP 80 TimedOut

apply policy.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: from, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]

probe
  blue/client -> shop/web TCP 80 TimedOut
  green/client -> shop/web TCP 80 TimedOut
  shop/client -> shop/web TCP 80 Reached
