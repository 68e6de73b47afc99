# What a pod may send: to pods by label, to the name server by port, to nothing else; its answers always pass.

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/db on node-b app=db TCP/5432
  pod kube-system/dns on node-b k8s-app=dns UDP/53 TCP/53
  pod shop/caller on node-b
  serve outside TCP/443

apply egress.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: out, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    policyTypes: [Egress]
    egress:
      - to: [{podSelector: {matchLabels: {app: db}}}]
        ports: [{port: 5432}]
      - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
        ports: [{protocol: UDP, port: 53}]

probe
  shop/web -> shop/db TCP 5432 Reached by NetworkPolicy/shop/out egress[0]
  shop/web -> shop/db TCP 5433 TimedOut by NetworkPolicy/shop/out
  shop/web -> kube-system/dns UDP 53 Reached by NetworkPolicy/shop/out egress[1]
  shop/web -> kube-system/dns TCP 53 TimedOut
  shop/web -> outside TCP 443 TimedOut by NetworkPolicy/shop/out
  shop/web -> shop/caller ICMP TimedOut
  shop/caller -> shop/web TCP 80 Reached by nothing
  shop/caller -> shop/web ICMP Reached
  shop/caller -> shop/web TCP 81 Refused
