// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Compare compares a row of the account's list with the status of p. regfish does not
// document whether rows have all that a read of the order has
// (https://regfish.com/docs/reference/create-certificate says nothing of lists). short says that this one may lack something:
// taken for a read it would make validation records vanish until the next read brings
// them back, or a completion URL. same says that a short row gives no reason to read the
// order.
func Compare(p *v1alpha1.RegfishPurchase, row regfish.Certificate) (short, same bool) {
	switch {
	case openReissue(p) != nil:
		short = row.Reissue == nil || (row.Reissue.Active() && row.Reissue.Validation == nil) || !delivered(row)
	case pending(row):
		short = row.Validation == nil
	case row.Status == regfish.StatusIssued:
		short = !delivered(row)
	default:
		// It ended, and that is believed of a read only.
		short = true
	}
	v := p.Status.Vendor
	if v == nil {
		return short, false
	}
	acts := meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionActionRequired)
	// What is issued and still followed is not there to be fetched, as far as is known.
	return short, openReissue(p) == nil && row.Status != regfish.StatusIssued &&
		regfish.Sanitise(row.Status, 64) == v.Status && row.ActionRequired == acts &&
		repeats(row.OrderState, 64, v.OrderState) && repeats(row.PendingReason, 64, v.PendingReason) &&
		repeats(row.PendingMessage, 256, v.PendingMessage) &&
		// Records may come looks after the order.
		(p.Status.DCV != nil || acts || !pending(row))
}

// delivered reports whether a row says all that is needed to fetch its certificate.
func delivered(row regfish.Certificate) bool {
	return row.ValidUntil != nil && row.CertificatePEMAvailable
}

// repeats reports whether a row says of something what the status says, or nothing.
func repeats(row string, most int, status string) bool {
	return row == "" || regfish.Sanitise(row, most) == status
}
