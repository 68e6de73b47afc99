# A pod's packets to nodes meet its egress policy as packets to anyone else do.

cluster
  pod shop/free on node-a app=free
  pod shop/held on node-a app=held
  serve node-a TCP/10250
  serve node-b TCP/10250
  pod shop/other on node-b

apply held.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: held, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: held}}
    policyTypes: [Egress]
    egress:
      - to: [{ipBlock: {cidr: 172.18.0.12/32}}, {ipBlock: {cidr: "fd00:18::12/128"}}]

probe
  shop/free -> node-a TCP 10250 Reached
  shop/free -> node-b TCP 10250 Reached
  shop/held -> node-a TCP 10250 TimedOut by NetworkPolicy/shop/held
  shop/held -> node-b TCP 10250 Reached by NetworkPolicy/shop/held egress[0]
  shop/held -> shop/free ICMP TimedOut
