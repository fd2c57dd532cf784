package backends

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redisSlots is how many hash slots every Redis Cluster has.
const redisSlots = 16384

// StartRedisCluster starts a cluster of so many masters, at least three, without
// replicas, and waits until each of them says that it is complete. args are as
// for [StartRedis].
func StartRedisCluster(tb testing.TB, masters int, args ...string) []*Redis {
	tb.Helper()
	nodes := make([]*Redis, masters)
	buses := make([]int, masters)
	for i := range nodes {
		// The usual port of the cluster's own traffic, 10,000 higher, may not exist.
		buses[i] = redisPort(tb, freeRedisAddr(tb))
		nodes[i] = StartRedis(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--cluster-port", strconv.Itoa(buses[i]),
		}, args...)...)
	}
	for i, n := range nodes {
		n.Do("cluster", "set-config-epoch", i+1)
		n.Do("cluster", "addslotsrange", i*redisSlots/masters, (i+1)*redisSlots/masters-1)
		if i > 0 {
			n.Do("cluster", "meet", "127.0.0.1", redisPort(tb, nodes[0].Addr), buses[0])
		}
	}
	for _, n := range nodes {
		n.awaitInfo("cluster info", "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", masters), fmt.Sprintf("cluster_slots_ok:%d", redisSlots))
	}
	return nodes
}

// RedisAddrs returns the servers' addresses.
func RedisAddrs(nodes []*Redis) []string {
	addrs := make([]string, len(nodes))
	for i, n := range nodes {
		addrs[i] = n.Addr
	}
	return addrs
}

// StartRedisReplica starts a server that copies master and waits until it has a
// copy. args are as for [StartRedis].
func StartRedisReplica(tb testing.TB, master *Redis, args ...string) *Redis {
	tb.Helper()
	port := strconv.Itoa(redisPort(tb, master.Addr))
	r := StartRedis(tb, append([]string{
		"--replicaof", "127.0.0.1 " + port, "--masteruser", redisHarness, "--masterauth", "any",
	}, args...)...)
	r.awaitInfo("info replication", "master_link_status:up")
	return r
}

// StartSentinel starts a Sentinel, which by itself decides on a failover, for a
// master under a name. It takes a master for down that is silent for half a
// second, and waits until it knows as many replicas as the master has.
func StartSentinel(tb testing.TB, master *Redis, name string) *Redis {
	tb.Helper()
	config := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", name, redisPort(tb, master.Addr)),
		fmt.Sprintf("sentinel auth-user %s %s", name, redisHarness),
		fmt.Sprintf("sentinel auth-pass %s any", name),
		fmt.Sprintf("sentinel down-after-milliseconds %s 500", name),
		fmt.Sprintf("sentinel failover-timeout %s 5000", name),
	}
	r := startRedis(tb, &Redis{sentinel: true, config: strings.Join(config, "\n") + "\n"})
	replicas := 0
	info, _ := master.Do("info", "replication").(string)
	for line := range strings.Lines(info) {
		_, _ = fmt.Sscanf(line, "connected_slaves:%d", &replicas)
	}
	r.awaitInfo("info sentinel", fmt.Sprintf("slaves=%d,", replicas), "status=ok")
	return r
}

// awaitInfo waits until what the command answers has all of the texts.
func (r *Redis) awaitInfo(command string, texts ...string) {
	r.tb.Helper()
	var words []any
	for word := range strings.FieldsSeq(command) {
		words = append(words, word)
	}
	for deadline := time.Now().Add(redisPatience); ; time.Sleep(20 * time.Millisecond) {
		answer, err := r.try(words...)
		info, missing := fmt.Sprint(answer), ""
		for _, text := range texts {
			if !strings.Contains(info, text) {
				missing = text
			}
		}
		if err == nil && missing == "" {
			return
		}
		if time.Now().After(deadline) {
			r.tb.Fatalf("%q on the Redis server at %s has no %q (%v):\n%s", command, r.Addr, missing, err, info)
		}
	}
}

// StartRedisTLS starts a server that speaks only TLS, with a certificate for
// 127.0.0.1 and localhost; clients need none. args are as for [StartRedis].
func StartRedisTLS(tb testing.TB, args ...string) *Redis {
	tb.Helper()
	dir := tb.TempDir()
	files := redisCertificate(tb, dir)
	trusted := x509.NewCertPool()
	text, err := os.ReadFile(files["cert"])
	if err != nil || !trusted.AppendCertsFromPEM(text) {
		tb.Fatalf("reading the certificate: %v", err)
	}
	return startRedis(tb, &Redis{
		CAFile: files["cert"],
		tls:    &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		args: append([]string{
			"--tls-cert-file", files["cert"], "--tls-key-file", files["key"], "--tls-ca-cert-file", files["cert"],
			"--tls-auth-clients", "no",
		}, args...),
	})
}

// redisCertificate writes a certificate that vouches for itself, and its key.
func redisCertificate(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{"cert": filepath.Join(dir, "cert.pem"), "key": filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: cert}, "key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(files[name], pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return files
}
