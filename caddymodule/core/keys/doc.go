// Package keys is the key ring: the keys that sign access tokens and the keys
// that seal everything else, their creation, rotation and retirement.
//
// [Ring] is an immutable snapshot; [Manager] owns the current one, keeps it in
// step with the store and rotates it. The ring lives in the store as one value
// that is replaced by compare-and-swap, wrapped under a secret where the
// operator gave one; or it is derived from that secret where there is no
// volume to keep it on.
//
// What is sealed and signed is the business of authserver; how sealing works,
// of seal.
package keys
