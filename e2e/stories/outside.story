# What leaves the cluster bears its node's address; the world cannot call a pod, and answers come back.
not about policy: there is none here

cluster
  pod shop/web on node-a TCP/80
  pod shop/client on node-b
  serve outside TCP/443 
  serve outside UDP/53

probe
  shop/web -> outside TCP 443 seen=node-a Reached
  shop/client -> outside TCP 443 seen=node-b Reached
  shop/client -> outside UDP 53 seen=node-b Reached
  shop/client -> outside ICMP Reached
  shop/client -> outside TCP 444 Refused
  shop/client -> shop/web TCP 80 seen=shop/client Reached
