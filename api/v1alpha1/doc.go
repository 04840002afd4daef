// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the Kubernetes API of regfish-issuer: two issuer
// kinds that users write, RegfishOrder, which shows the work on one
// CertificateRequest, and RegfishPurchase, the ledger of what regfish bills.
// It owns every word a user can read in a condition. It must not import
// anything but apimachinery, so that other programs can use the types without
// pulling in a controller.
//
// +kubebuilder:object:generate=true
// +groupName=certmanager.regfish.com
package v1alpha1
