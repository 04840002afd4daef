// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// State is the one word that sums up the conditions of an order or purchase.
// Queued and Waiting go on by themselves. Held always means that a person must
// decide.
type State string

const (
	// StatePlanned surfaces when an order was accepted for work and nothing was
	// decided or sent yet.
	StatePlanned State = "Planned"
	// StateQueued surfaces when a purchase is to be made and waits for something
	// that comes by itself or by the issuer's owner: a slot of the purchase
	// limit, the issuer, the vendor.
	StateQueued State = "Queued"
	// StatePlacing surfaces while the order is being sent to regfish.
	StatePlacing State = "Placing"
	// StateResolving surfaces while it is not known whether the order was placed and
	// the account is looked at for it. It goes on by itself.
	StateResolving State = "Resolving"
	// StateWaiting surfaces when a request waits for a purchase that was begun
	// for another one.
	StateWaiting State = "Waiting"
	// StateHeld surfaces when nothing goes on until a person decides.
	StateHeld State = "Held"
	// StateActionRequired surfaces when a person has to finish the order in the
	// regfish console.
	StateActionRequired State = "ActionRequired"
	// StateValidating surfaces while regfish waits for the validation records.
	StateValidating State = "Validating"
	// StateProcessing surfaces while regfish or the certificate authority works
	// and nobody has to act, and while the certificate is fetched.
	StateProcessing State = "Processing"
	// StateIssued surfaces when the certificate was issued.
	StateIssued State = "Issued"
	// StateFailed surfaces when an order was placed and no certificate will come
	// of it, and on an order whose request cannot be served.
	StateFailed State = "Failed"
	// StateEnded surfaces on a purchase that was never placed and never will be.
	StateEnded State = "Ended"
)

// ConditionReady is the condition of issuers. True says that certificates can be
// bought with it. It is present once the issuer was looked at.
const ConditionReady = "Ready"

// Reasons of Ready on an issuer.
const (
	// ReasonChecked surfaces when the key was accepted, the product is in the
	// catalogue and this controller's ledger is the issuer's. Ready is True.
	ReasonChecked = "Checked"
	// ReasonSecretNotFound surfaces when the Secret of spec.apiKeySecretRef, or
	// the key in it, does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretForbidden surfaces when the controller may not read the Secret;
	// the message prints the command that allows it.
	ReasonSecretForbidden = "SecretForbidden"
	// ReasonKeyInvalid surfaces when the value in the Secret cannot be an API key:
	// it is empty, too long or has characters that a key cannot have.
	ReasonKeyInvalid = "KeyInvalid"
	// ReasonKeyRejected surfaces when regfish answers that it does not know the
	// key.
	ReasonKeyRejected = "KeyRejected"
	// ReasonKeyForbidden surfaces when regfish knows the key but does not let it
	// list or order certificates.
	ReasonKeyForbidden = "KeyForbidden"
	// ReasonProductUnknown surfaces when spec.sku or spec.wildcardSKU is not in the
	// catalogue.
	ReasonProductUnknown = "ProductUnknown"
	// ReasonOrganizationRequired surfaces when the product can only be ordered for an
	// organization and spec.organizationID names none that can be used; the message
	// lists those that can.
	ReasonOrganizationRequired = "OrganizationRequired"
	// ReasonEndpointNotAllowed surfaces when spec.url is not on the list that the
	// controller was started with.
	ReasonEndpointNotAllowed = "EndpointNotAllowed"
	// ReasonEndpointUnreachable surfaces when regfish could not be asked: no
	// connection, a certificate that is not trusted, or an answer that makes no
	// sense.
	ReasonEndpointUnreachable = "EndpointUnreachable"
	// ReasonLedgerElsewhere surfaces when another ledger records this issuer's
	// purchases: another installation serves it.
	ReasonLedgerElsewhere = "LedgerElsewhere"
)

// ConditionPlaced says whether the order stands at regfish. It is present from
// the start on purchases and orders.
const ConditionPlaced = "Placed"

// Reasons of Placed.
const (
	// ReasonPurchased surfaces when regfish took the order and named its id.
	// Placed is True.
	ReasonPurchased = "Purchased"
	// ReasonAdopted surfaces when the certificate was found in the account and
	// was taken into the ledger, or is followed until its key proves that it is the
	// purchase's. Placed is True.
	ReasonAdopted = "Adopted"
	// ReasonRenewed surfaces when regfish took the order as the renewal of an earlier
	// certificate and named its id. Placed is True.
	ReasonRenewed = "Renewed"
	// ReasonReissued surfaces when regfish took a reissue of a certificate that is paid
	// for. Placed is True.
	ReasonReissued = "Reissued"
	// ReasonNotDecided surfaces on an order before anything was decided. Placed
	// is False.
	ReasonNotDecided = "NotDecided"
	// ReasonRejected surfaces when regfish refused the order for what is in it.
	// Placed is False.
	ReasonRejected = "Rejected"
	// ReasonOverrideRefused surfaces when an annotation of the request asks for what the
	// issuer does not allow, or for what cannot be used; the message names the annotation
	// and what to do. Placed is False.
	ReasonOverrideRefused = "OverrideRefused"
	// ReasonPurchaseLimitReached surfaces when the issuer's purchaseLimit is used
	// up; the message says when the next slot is free. Placed is False.
	ReasonPurchaseLimitReached = "PurchaseLimitReached"
	// ReasonSlotAfterExpiry surfaces when a renewal waits for the purchaseLimit and its
	// slot comes after the certificate in use has expired; the limit has to be raised.
	// Placed is False.
	ReasonSlotAfterExpiry = "SlotAfterExpiry"
	// ReasonPurchasesPaused surfaces when the issuer's purchaseLimit.count, or its
	// countPerNamespace, is 0.
	// Placed is False.
	ReasonPurchasesPaused = "PurchasesPaused"
	// ReasonRenewalEarly surfaces when a certificate is to be bought although more than
	// half of the lifetime of the present one is left; the message says until when it
	// waits. Placed is False.
	ReasonRenewalEarly = "RenewalEarly"
	// ReasonIssuerNotReady surfaces when the issuer does not exist or is not
	// Ready; the message repeats why. Placed is False.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonWildcardSKURequired surfaces when a requested name is a wildcard and the
	// issuer's wildcardSKU is not set; its owner has to set it. Placed is False.
	ReasonWildcardSKURequired = "WildcardSKURequired"
	// ReasonEndpointChanged surfaces when the issuer's url is not the one that
	// the purchase was begun at; nothing is sent to either. Placed is False.
	ReasonEndpointChanged = "EndpointChanged"
	// ReasonVendorUnavailable surfaces when regfish could not be asked, or asked
	// to wait. Placed is False.
	ReasonVendorUnavailable = "VendorUnavailable"
	// ReasonWaitingForPurchase surfaces when another purchase has to come to an
	// end first; the message names it. Placed is False.
	ReasonWaitingForPurchase = "WaitingForPurchase"
	// ReasonAbandoned surfaces when a person gave the purchase up. Placed is False.
	ReasonAbandoned = "Abandoned"
	// ReasonPlacing surfaces while the order is being sent. Placed is Unknown.
	ReasonPlacing = "Placing"
	// ReasonOutcomeUnknown surfaces when the order may or may not have been
	// placed, and the account is looked at for it. Placed is Unknown.
	ReasonOutcomeUnknown = "OutcomeUnknown"
)

// ConditionHeld says that a person must decide. It is present, as False, from
// the start on purchases and orders.
const ConditionHeld = "Held"

// Reasons of Held.
const (
	// ReasonNotHeld surfaces when nobody has to decide. Held is False.
	ReasonNotHeld = "NotHeld"
	// ReasonAmbiguousOutcome surfaces when looking in the account could not tell
	// what became of an order, and when as many attempts came to nothing as are
	// made without asking. Held is True.
	ReasonAmbiguousOutcome = "AmbiguousOutcome"
	// ReasonUnclaimedOrder surfaces when the account has a certificate or order
	// for the requested names that this ledger did not make. Held is True.
	ReasonUnclaimedOrder = "UnclaimedOrder"
	// ReasonPreviousOrderFailed surfaces when the last purchase for the same
	// Certificate was placed and ended without a certificate. Held is True.
	ReasonPreviousOrderFailed = "PreviousOrderFailed"
	// ReasonTooManyActions surfaces when three purchases or reissues were placed for the
	// same Certificate within 24 hours. Held is True.
	ReasonTooManyActions = "TooManyActions"
	// ReasonCertificateRefused surfaces when regfish delivers a certificate that
	// may not be published. Held is True.
	ReasonCertificateRefused = "CertificateRefused"
	// ReasonNotFoundAtVendor surfaces when regfish does not know an id that it
	// gave: the key may belong to another account. Held is True; it clears
	// itself once the id is found again.
	ReasonNotFoundAtVendor = "NotFoundAtVendor"
	// ReasonOtherCluster surfaces when another cluster made the purchase: it is not
	// touched until it is taken over. Held is True.
	ReasonOtherCluster = "OtherCluster"
	// ReasonUnknownRecord surfaces when a newer version of the controller wrote
	// the purchase. Held is True.
	ReasonUnknownRecord = "UnknownRecord"
)

// ConditionActionRequired says that a person has to finish the order in the
// regfish console. It is present, as False, from the start on purchases and
// orders. Its reason, when True, is the vendor's pending_reason in CamelCase, or
// ReasonCompletionRequired.
const ConditionActionRequired = "ActionRequired"

// Reasons of ActionRequired.
const (
	// ReasonCompletionRequired surfaces when the vendor says that a person has to
	// act and not why. ActionRequired is True.
	ReasonCompletionRequired = "CompletionRequired"
	// ReasonNotRequired surfaces when nobody had to act. ActionRequired is False.
	ReasonNotRequired = "NotRequired"
	// ReasonCompleted surfaces when a person acted and the order goes on.
	// ActionRequired is False.
	ReasonCompleted = "Completed"
)

// ConditionValidationPublished says whether the order's validation records stand
// in DNS, as far as is known. It is present on orders from the start.
const ConditionValidationPublished = "ValidationPublished"

// Reasons of ValidationPublished.
const (
	// ReasonPublished surfaces when the names were validated, so the records were
	// seen. ValidationPublished is True.
	ReasonPublished = "Published"
	// ReasonAwaitingDNS surfaces when records have to be set by DNS automation or
	// a person; the message names them. ValidationPublished is False.
	ReasonAwaitingDNS = "AwaitingDNS"
	// ReasonAwaitingEmail surfaces when the certificate authority has sent a mail and
	// a person has to follow the link in it; the message names the addresses.
	// ValidationPublished is False.
	ReasonAwaitingEmail = "AwaitingEmail"
	// ReasonWaitingForName surfaces when another order needs a different record
	// at the same name and is first. ValidationPublished is False.
	ReasonWaitingForName = "WaitingForName"
	// ReasonRecordsPending surfaces while regfish named no records yet.
	// ValidationPublished is Unknown.
	ReasonRecordsPending = "RecordsPending"
)

// ConditionIssued says whether the certificate was issued. It is present from
// the start on purchases and orders.
const ConditionIssued = "Issued"

// Reasons of Issued.
const (
	// ReasonIssued surfaces on a purchase when regfish says that the certificate
	// was issued, and on an order when the certificate was verified and handed to
	// the request. Issued is True.
	ReasonIssued = "Issued"
	// ReasonFailed surfaces when no certificate will come. Issued is False.
	ReasonFailed = "Failed"
	// ReasonPending surfaces while a certificate may still come. Issued is
	// Unknown.
	ReasonPending = "Pending"
)

// ConditionDuplicateFound says that the account has an order that may have been bought
// beside a purchase. It is present, as True, on purchases while there is one.
const ConditionDuplicateFound = "DuplicateFound"

// Reasons of DuplicateFound.
const (
	// ReasonOrderAppeared surfaces when an order or a certificate with the names of the
	// purchase appeared in the account after the purchase was begun, and no record
	// holds it. DuplicateFound is True.
	ReasonOrderAppeared = "OrderAppeared"
)

// EventDecided surfaces as an event on a purchase when what a person decided with the
// annotation was carried out.
const EventDecided = "Decided"

// EventDecisionVoid surfaces as an event on a purchase when the annotation by which a
// person decides cannot be carried out, and was removed; the message says why.
const EventDecisionVoid = "DecisionVoid"

// EventCertificateGone surfaces as an event on a purchase when the Certificate that it was
// last used for does not exist any more while what was paid for goes on.
const EventCertificateGone = "CertificateGone"

// EventApprovalMissing surfaces as an event on a CertificateRequest that nobody
// approved or denied for two minutes; nothing else is written before approval.
const EventApprovalMissing = "ApprovalMissing"

// The annotations by which a person decides.
const (
	// AnnotationResolve on a purchase says what is to become of it: adopt:<id>,
	// retry:<attempt>, purchase or abandon. It is consumed once.
	AnnotationResolve = Group + "/resolve"
	// AnnotationTakeover on an issuer names, by their UIDs, the ledger's namespace and
	// the clusters whose purchases this cluster takes over.
	AnnotationTakeover = Group + "/takeover"
	// AnnotationSourceCertificateID on a Certificate, and on the requests that cert-manager
	// makes for it, names a certificate of the account that is to be used, where the
	// issuer's allowedOverrides has SourceCertificateID.
	AnnotationSourceCertificateID = Group + "/source-certificate-id"
)

// The labels of purchases are for people: nothing reads them. The labels of the
// CertificateRequest are copied beside them.
const (
	// LabelNamespace is the namespace of the beneficiary.
	LabelNamespace = Group + "/beneficiary-namespace"
	// LabelIssuerKind is the kind of the issuer.
	LabelIssuerKind = Group + "/issuer-kind"
	// LabelIssuerName is the name of the issuer.
	LabelIssuerName = Group + "/issuer-name"
)
