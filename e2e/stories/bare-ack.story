# A TCP segment of no connection opens none: not where its connection would be allowed, and not after a denied one. Nor does an
# ICMP error about a datagram that was never sent arrive: connection tracking calls it invalid.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client
  pod shop/near on node-a app=client

forge
  shop/client -> shop/web ack port=80 Unseen
  shop/near -> shop/web ack port=80 Unseen
  shop/client -> shop/web unreachable port=53 Unseen
  shop/near -> shop/web unreachable port=53 Unseen

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}

forge
  shop/client -> shop/web syn port=80 Unseen
  shop/client -> shop/web ack port=80 Unseen
  shop/near -> shop/web syn port=80 Unseen
  shop/near -> shop/web ack port=80 Unseen

remove deny.yaml

forge
  shop/client -> shop/web syn port=80 Seen
  shop/near -> shop/web syn port=80 Seen
