# What antctl tells on a node and of the cluster: pods, policies, groups, and for each flow the policy or pod that it comes from.

not about policy: it asks the daemons; the packets only make something to count

cluster
  pod shop/web on node-a app=web TCP/80
  pod shop/client on node-b app=client

apply web.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: web, namespace: shop}
  spec:
    podSelector: {matchLabels: {app: web}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: client}}}]
        ports: [{port: 80}]

probe
  shop/client -> shop/web TCP 80 Reached

antctl node-a get podinterface web -n shop
  shop web
  policed policed

antctl node-a get podinterface client -n shop
  there is no pod shop/client attached on this node

antctl node-a get agentinfo
  node-a Ready

antctl node-a get controllerinfo
  Ready 1 1 1 2 0 0

antctl node-a get controllerinfo --server CONTROLLER
  Ready 1 1 1 2 0 0

antctl node-a get networkpolicy --server CONTROLLER
  shop/web

antctl node-a version --server CONTROLLER
  ferrant-agent
  ferrant-controller

antctl node-a get ovsflows -p web -n shop
  Pod/shop/web in_port=shop/web
  IngressRule
  NetworkPolicy/shop/web ingress[0]

antctl node-a get ovsflows --networkpolicy web -n shop -T IngressDefault
  NetworkPolicy/shop/web

antctl node-b get ovsflows --networkpolicy web
  no policy web has flows on this node

antctl node-a get networkpolicy --from agent
  shop/web
  1 ingress NetworkPolicy/shop/web

antctl node-b get networkpolicy --from controller
  1 ingress NetworkPolicy/shop/web

antctl node-a get addressgroup --from controller
  app=client

antctl node-a get appliedtogroup -o yaml
  pod: shop/web
  node: node-a

antctl node-a version
  antctl
  ferrant-agent
  ferrant-controller
