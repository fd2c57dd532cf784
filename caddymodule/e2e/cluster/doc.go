// Package cluster tests that many nodes act as one: two and three gateways,
// each a process of its own, on one store and behind a load balancer.
//
// It owns the load balancer of its tests and what a person and a program see
// when their requests land on another node each time, when nodes race, restart,
// or die. What one node does is tested beside it, what a store promises in
// core/store/storetest, and servers to store things in come from backends.
package cluster
