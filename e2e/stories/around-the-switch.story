# A pod that hands its packets to the node's own kernel, past the switch, gets nowhere with them.

cluster
  pod shop/web on node-b app=web TCP/80
  pod shop/near on node-a app=other TCP/80
  pod shop/liar on node-a app=liar
  pod shop/honest on node-a app=liar
  serve outside TCP/443
  serve node-a TCP/10250

apply out.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: out, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: liar}}
    policyTypes: [Egress]
    egress:
      - to: [{podSelector: {matchLabels: {app: web}}}]

probe
  shop/liar -> shop/web TCP 80 Reached by NetworkPolicy/shop/out egress[0]
  shop/liar -> outside TCP 443 TimedOut by NetworkPolicy/shop/out
  shop/liar -> node-a TCP 10250 TimedOut
  shop/liar -> shop/near TCP 80 TimedOut

neighbour shop/liar

probe
  shop/liar -> outside TCP 443 TimedOut
  shop/liar -> node-a TCP 10250 TimedOut
  shop/liar -> shop/near TCP 80 TimedOut
  shop/honest -> shop/web TCP 80 Reached

forge
  shop/liar -> outside datagram port=53 Unseen
  shop/liar -> node-a datagram port=53 Unseen
  shop/liar -> shop/near datagram port=53 Unseen
