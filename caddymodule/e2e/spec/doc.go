// Package spec holds the normative requirements of the authorization server
// as black-box tests: one subtest per requirement, under the requirement's
// number (A discovery of the resource, B of the server, C registration, F the
// authorization endpoint, G the token endpoint, J keys, O attacks), against
// real gateway processes over HTTP.
//
// It owns the tests and nothing else. Starting gateways is the work of
// gatewaytest; what a single function does is tested beside the function.
package spec
