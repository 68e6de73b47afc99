# Policies are added, edited, renamed and removed; a renamed file and a renamed policy change what is named, not what passes.

cluster
  pod shop/web on node-a app=web TCP/80 TCP/81
  pod shop/client on node-b app=client

apply a.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: first, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 80}]}]

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/first ingress[0]
  shop/client -> shop/web TCP 81 TimedOut by NetworkPolicy/shop/first

rename a.yaml b.yaml

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/first ingress[0]
  shop/client -> shop/web TCP 81 TimedOut by NetworkPolicy/shop/first

apply b.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: second, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 80}]}]

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/second ingress[0]
  shop/client -> shop/web TCP 81 TimedOut by NetworkPolicy/shop/second

apply b.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: second, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress: [{ports: [{port: 81}]}]

probe
  shop/client -> shop/web TCP 80 TimedOut
  shop/client -> shop/web TCP 81 Reached

apply c.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: more, namespace: shop}
  spec:
    podSelector: {}
    ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}]

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/more ingress[0]
  shop/client -> shop/web TCP 81 Reached by NetworkPolicy/shop/second ingress[0]
  shop/web -> shop/client TCP 80 TimedOut by NetworkPolicy/shop/more

remove b.yaml

probe
  shop/client -> shop/web TCP 80 Reached
  shop/client -> shop/web TCP 81 TimedOut

remove c.yaml

probe
  shop/client -> shop/web TCP 81 Reached by nothing
  shop/web -> shop/client TCP 80 Refused
