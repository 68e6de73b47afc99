# What a node sends to its own pods always passes (the kubelet's probes); what other nodes send meets policy. A node speaks to
# pods of other nodes from its gateway's address.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/far on node-b app=far TCP/80

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec:
    podSelector: {}
    policyTypes: [Ingress, Egress]

probe
  node-a -> shop/web TCP 80 Reached
  node-a -> shop/web TCP 81 Refused
  node-a -> shop/web ICMP Reached
  node-b -> shop/far TCP 80 Reached
  node-b -> shop/web TCP 80 TimedOut
  node-a -> shop/far TCP 80 TimedOut
  shop/far -> shop/web TCP 80 TimedOut by NetworkPolicy/shop/deny

apply allow.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: from-nodes, namespace: shop}
  spec:
    podSelector: {}
    ingress:
      - from: [{ipBlock: {cidr: 10.10.2.1/32}}, {ipBlock: {cidr: "fd00:10:0:2::1/128"}}]

probe
  node-b -> shop/web TCP 80 Reached
  shop/far -> shop/web TCP 80 TimedOut
