package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// attemptTimeout is how long one attempt to connect takes at most.
const attemptTimeout = 5 * time.Second

// Options say how to reach the servers.
type Options struct {
	// Addresses are host:port of the server, of nodes of the Cluster, or of the
	// Sentinels.
	Addresses []string
	// MasterName is what the Sentinels call the master; empty without Sentinels.
	MasterName string
	// Cluster says that the servers are a Cluster.
	Cluster bool
	// Username and Password are of the ACL user, SentinelUsername and
	// SentinelPassword of the one at the Sentinels. All may be empty.
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	// Database is the number of the database; 0 on a Cluster.
	Database int
	// Prefix begins all keys and the channel.
	Prefix string
	// Timeout bounds every step; callers' deadlines count as well.
	Timeout time.Duration
	// TLS encrypts the connections. CA, if not empty, is a PEM file with the
	// authorities to trust instead of the system's; Cert and Key are PEM files of
	// this client; ServerName is the name in the server's certificate.
	TLS                       bool
	CA, Cert, Key, ServerName string
}

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$`)

// check says what is wrong with the options.
func (o Options) check() error {
	if len(o.Addresses) == 0 {
		return errors.New("redis: name the server's address, such as 127.0.0.1:6379")
	}
	for _, addr := range o.Addresses {
		// The text is not shown: somebody may have put a password into it.
		host, port, err := net.SplitHostPort(addr)
		if _, err2 := strconv.ParseUint(port, 10, 16); err != nil || err2 != nil || host == "" || strings.Contains(host, "@") {
			return errors.New("redis: an address is not host:port")
		}
	}
	switch {
	case !prefixPattern.MatchString(o.Prefix):
		return fmt.Errorf("redis: prefix %q: it has up to 64 letters, digits and _ . : -", o.Prefix)
	case len(o.Addresses) > 1 && o.MasterName == "" && !o.Cluster:
		return errors.New("redis: several addresses are those of a Cluster, with the option cluster, or of Sentinels, with master_name")
	case o.MasterName != "" && o.Cluster:
		return errors.New("redis: master_name and cluster exclude each other: a Cluster has no Sentinels")
	case o.Timeout < 0:
		return errors.New("redis: timeout is negative")
	case o.Database < 0:
		return errors.New("redis: database is negative")
	case o.Cluster && o.Database != 0:
		return errors.New("redis: a Cluster has only database 0")
	case o.MasterName == "" && (o.SentinelUsername != "" || o.SentinelPassword != ""):
		return errors.New("redis: sentinel_username and sentinel_password go with master_name")
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("redis: tls_cert and tls_key go together")
	}
	return nil
}

// universal returns the client's options.
func (o Options) universal() (*redis.UniversalOptions, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	return &redis.UniversalOptions{
		Addrs: o.Addresses, MasterName: o.MasterName, IsClusterMode: o.Cluster, DB: o.Database,
		Username: o.Username, Password: o.Password,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		TLSConfig: tlsConfig, DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout,
		PoolTimeout: o.Timeout, ContextTimeoutEnabled: true,
		// Repeating is safe: scripts recognise a call that comes again.
		DialerRetries: 1, MaxRetries: 3, MinRetryBackoff: 10 * time.Millisecond, MaxRetryBackoff: 250 * time.Millisecond,
		// No commands beyond those that the ACL rule in the docs allows.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		PipelinePoolSize:         -1,
	}, nil
}

// tlsConfig returns nil without TLS.
func (o Options) tlsConfig() (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("redis: tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("redis: tls_ca: %s has no certificate in PEM form", o.CA)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("redis: tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
