# A namespace that accepts nothing; one allow; the policy removed again. Other namespaces are as before.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/near on node-a app=client
  pod shop/far on node-b app=client
  pod other/web on node-b TCP/80

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    podSelector: {}

probe
  shop/near -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/deny
  shop/far -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/deny
  shop/far -> shop/web TCP 81 TimedOut
  shop/far -> shop/web ICMP TimedOut
  other/web -> shop/web TCP 80 TimedOut
  shop/near -> other/web TCP 80 Reached by nothing

apply allow.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: allow, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
        ports: [{port: 80}]

probe
  shop/near -> shop/web TCP 80 Reached by NetworkPolicy/shop/allow ingress[0]
  shop/far -> shop/web TCP 80 Reached by NetworkPolicy/shop/allow ingress[0]
  shop/far -> shop/web TCP 81 TimedOut
  shop/far -> shop/web ICMP TimedOut
  other/web -> shop/web TCP 80 TimedOut
  shop/web -> shop/near TCP 80 TimedOut

remove deny.yaml
remove allow.yaml

probe
  shop/far -> shop/web TCP 80 Reached by nothing
  shop/far -> shop/web TCP 81 Refused
  other/web -> shop/web TCP 80 Reached
