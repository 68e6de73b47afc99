# Nobody speaks in another's name: not in that of a pod beside it, of one far away, of its node or of the world.
not about policy: the spoof guard is not policy, and holds whatever policy says

cluster
  pod shop/web on node-a UDP/53 TCP/80
  pod shop/near on node-a
  pod shop/far on node-b
  pod shop/liar on node-b
  serve outside UDP/53

forge
  shop/liar -> shop/web datagram port=53 Seen
  shop/near -> shop/web datagram port=53 Seen
  shop/liar -> shop/web datagram source=shop/far port=53 Unseen
  shop/liar -> shop/web datagram source=shop/near port=53 Unseen
  shop/liar -> shop/web datagram source=node-b port=53 Unseen
  shop/liar -> shop/web datagram source=outside port=53 Unseen
  shop/near -> shop/web datagram source=shop/far port=53 Unseen
  shop/near -> shop/web datagram source=node-a port=53 Unseen
  shop/liar -> shop/web syn source=shop/near port=80 Unseen
  shop/liar -> outside datagram source=shop/far port=53 Unseen
