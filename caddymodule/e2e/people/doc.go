// Package people tests, from outside, how people sign in, what they approve and
// how they take it back: SPEC F19, F24 to F37 and F39, the attacks O1 to O9, O12,
// O15, O22, O39 to O42 and O44, and THREATS 1.2. The gateway is the real binary;
// the tests use the small browser of gatewaytest, which checks the headers and
// cookies of every answer.
//
// Sign-ins at real providers are in the package upstream, pages in Chromium in
// its own, and what needs a clock beside the code.
package people
