# A policy edited into something that is no policy stays in force as it was last good; mended, it takes effect.

cluster
  pod shop/web on node-a app=web TCP/80 TCP/81
  pod shop/client on node-b app=client

apply a.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 80}]}]

apply a.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 99999}]}]

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/web ingress[0]
  shop/client -> shop/web TCP 81 TimedOut by NetworkPolicy/shop/web

apply a.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 81}]}]

probe
  shop/client -> shop/web TCP 80 TimedOut
  shop/client -> shop/web TCP 81 Reached
