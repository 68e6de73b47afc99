# Pods on one node and on two reach each other, their nodes and the world, in both families; a port without a server refuses.
not about policy: there is none here

cluster
  pod shop/web on node-a TCP/80 UDP/53
  pod shop/near on node-a
  pod shop/far on node-b
  serve outside TCP/443
  serve node-a TCP/10250
  serve node-b TCP/10250

probe
  shop/near -> shop/web TCP 80 Reached by nothing
  shop/far -> shop/web TCP 80 Reached by nothing
  shop/near -> shop/web UDP 53 Reached
  shop/far -> shop/web UDP 53 Reached
  shop/near -> shop/web ICMP Reached
  shop/far -> shop/web ICMP Reached
  shop/near -> shop/web TCP 81 Refused
  shop/far -> shop/web TCP 81 Refused
  shop/near -> shop/web UDP 54 Refused
  shop/far -> shop/web UDP 54 Refused
  shop/near -> node-a TCP 10250 Reached
  shop/near -> node-b TCP 10250 Reached
  shop/far -> node-a ICMP Reached
  shop/web -> shop/web TCP 80 Reached
