# SCTP meets policy as TCP and UDP do, and is told apart from them; an answer finds its way back to a pod that accepts nothing.

cluster
  pod shop/web on node-a app=web SCTP/9000 SCTP/9001 TCP/9000
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client

probe
  shop/near -> shop/web SCTP 9000 Reached by nothing
  shop/far -> shop/web SCTP 9000 Reached
  shop/far -> shop/web SCTP 9002 Refused

apply sctp.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: sctp, namespace: shop}
  spec:
    podSelector: {}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
        ports: [{protocol: SCTP, port: 9000}]

probe
  shop/near -> shop/web SCTP 9000 Reached by NetworkPolicy/shop/sctp ingress[0]
  shop/far -> shop/web SCTP 9000 Reached by NetworkPolicy/shop/sctp ingress[0]
  shop/far -> shop/web SCTP 9001 TimedOut by NetworkPolicy/shop/sctp
  shop/far -> shop/web TCP 9000 TimedOut by NetworkPolicy/shop/sctp
