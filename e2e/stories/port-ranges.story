# endPort allows a range with both its ends; UDP and TCP are told apart.

cluster
  pod shop/web on node-a TCP/7999 TCP/8000 TCP/8005 TCP/8010 TCP/8011 UDP/8005
  pod shop/client on node-b

apply range.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: range, namespace: shop}
  spec:
    podSelector: {}
    ingress:
      - ports: [{protocol: TCP, port: 8000, endPort: 8010}]

probe
  shop/client -> shop/web TCP 7999 TimedOut
  shop/client -> shop/web TCP 8000 Reached
  shop/client -> shop/web TCP 8005 Reached by NetworkPolicy/shop/range ingress[0]
  shop/client -> shop/web TCP 8006 Refused
  shop/client -> shop/web TCP 8010 Reached
  shop/client -> shop/web TCP 8011 TimedOut
  shop/client -> shop/web UDP 8005 TimedOut by NetworkPolicy/shop/range
