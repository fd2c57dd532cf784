// Package storetest is the suite that every [store.Store] must pass. It is an
// ordinary package, so that stores in other repositories use it too:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
//	}
//
// It owns the reading of the contract in package store: what is not tested
// here is not promised. Which parts a store runs follows from what it is:
//
//   - [Run]: every store. All parts are mandatory.
//   - [RunDurable]: stores that keep their state when they are closed.
//   - [RunShared]: stores that several nodes may use at once.
//   - [RunSwept]: stores whose Sweep is the only thing that removes records;
//     not for those whose server expires records by itself as well.
//
// The suite's clock starts at the real time and is moved ahead by hours, never
// back: a store must go by the now that it is given, and a server that expires
// records by itself may do so by its own clock and still pass.
//
// What belongs to one kind of storage lives beside that store: full disks,
// damaged files, kill -9, lost connections.
package storetest
