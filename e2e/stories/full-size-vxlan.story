# The largest packets that fit a pod's MTU pass through the vxlan tunnel whole, in both families, and so does a long text.
not about policy: there is none here

cluster
  tunnel vxlan
  pod shop/web on node-a TCP/80 UDP/53
  pod shop/near on node-a
  pod shop/far on node-b
  serve outside TCP/443

probe
  shop/far -> shop/web TCP 80 Reached
  shop/far -> shop/web ICMP size=full Reached
  shop/far -> shop/web UDP 53 size=full Reached
  shop/far -> shop/web TCP 80 size=full Reached
  shop/near -> shop/web ICMP size=full Reached
  shop/near -> shop/web TCP 80 size=full Reached
  shop/far -> outside ICMP size=full Reached
  shop/far -> outside TCP 443 size=full Reached
