# A port's name means, at each pod, the port of that name and protocol; a pod without it accepts nothing by it.

cluster
  pod shop/one on node-a app=web TCP/80=http TCP/81
  pod shop/two on node-b app=web TCP/8080=http TCP/80
  pod shop/none on node-b app=web TCP/80
  pod shop/client on node-a

apply http.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: http, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - ports: [{port: http}]

probe
  shop/client -> shop/one TCP 80 Reached by NetworkPolicy/shop/http ingress[0]
  shop/client -> shop/one TCP 81 TimedOut
  shop/client -> shop/two TCP 8080 Reached
  shop/client -> shop/two TCP 80 TimedOut
  shop/client -> shop/none TCP 80 TimedOut

apply http.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: http, namespace: shop}
  spec:
    podSelector: {}
    policyTypes: [Egress]
    egress:
      - ports: [{port: http}]

probe
  shop/client -> shop/one TCP 80 Reached by NetworkPolicy/shop/http egress[0]
  shop/client -> shop/one TCP 81 TimedOut by NetworkPolicy/shop/http
  shop/client -> shop/two TCP 8080 Reached
  shop/client -> shop/two TCP 80 TimedOut
