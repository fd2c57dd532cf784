// Package atrest encrypts what is personal or secret before it goes to a store.
//
// [Store] is a store.Store over another one; [Resealer] goes through what is
// kept and seals it anew after the key has changed, or where it was kept in the
// clear. The keys, and whether there is anything to seal, are the business of
// keys; how sealing works, of seal; how a store keeps its records, of the store.
//
// # What is kept
//
// With a secret, records have this form:
//
//	Grant.Sealed        sealed JSON of User, ClientName, RedirectURI, ClientHash and
//	                    ClientMetadata, which are empty but for:
//	Grant.User.Subject  HMAC-SHA-256 of the subject in unpadded base64url, so that
//	                    a person's grants are found and nobody reads whose they are
//	Grant.UsedFrom      "sealed:" and the sealed address; empty if there is none
//	ClientRecord.Metadata, Revocation.Subject
//	                    "sealed:" and the sealed text; empty if there is none
//
// Ids, ClientID, Resource, Scope, Generation, times, reasons and hashes of used
// keys stay as they are: stores look for them and compare them, and none is a
// credential.
//
// A sealed value is version, key id, nonce and XChaCha20-Poly1305 box in unpadded
// base64url (seal.Sealer). Each of the four has a key of its own, derived from
// the ring's sealing key, and each belongs to its record: what is taken from one
// grant does not open in another. Subjects in the feed belong to none, because an
// entry has no id. The key of the hash is derived from the ring's oldest sealing
// key and changes only when the keys are retired.
//
// # Reading
//
// Records in the clear and sealed ones are read side by side, with or without a
// secret, so that nodes with another configuration can run beside this one while
// the operator changes it. A grant whose key is gone counts as not found, a client
// as deleted: whoever it was about has to sign in or register again. Before that,
// the ring is read again, because another node may have made the key just now.
// Anything else that does not open is damage and an error like an outage; nobody
// ever gets it. Only the feed goes on past both, see [Store.Revocations].
package atrest
