package h2connect

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parity is what the standard library's own tests check of HTTP/2, and which of
// our tests checks it here. theirs names tests of net/http and of
// golang.org/x/net/http2, some by a prefix; ours names tests of this package.
// Where but is not empty there is a difference, on purpose; the package comment
// has the reason.
var parity = []struct {
	what   string
	theirs string
	ours   string
	but    string
}{
	// What a server takes for a request.
	{"method, URI, Host, length of a request", "TestServer_Request_Get TestServer_Request_Get_PathSlashes TestServer_Request_Post_*", "TestRequestsAsHandlersSeeThem", ""},
	{"Host in place of :authority", "TestServer_Request_Get_Host", "TestRequestsAsHandlersSeeThem", ""},
	{"cookie crumbs are joined", "TestServer_Request_CookieConcat", "TestRequestsAsHandlersSeeThem", ""},
	{"OPTIONS *", "TestStarRequestMethod", "TestRequestsAsHandlersSeeThem", "* is malformed with other methods"},
	{"a request and its answer", "TestServer TestServer_Ping TestServer_Request_Get_Authority TestTransport TestTransportExternal", "TestPeerGreets", ""},
	{"malformed requests are refused", "TestServer_Request_Reject_* TestServer_Rejects_ConnHeaders TestServerRejectsContentLengthWithSignNewRequests", "TestH2_29MalformedRequests", ""},
	{"plain CONNECT", "TestServer_Request_Connect* TestConnectRequest", "TestXC19PlainConnectReachesTheHandlerAsInHTTP1", ""},
	{"content-length agrees with the content", "TestServer_Request_Post_Body_ContentLength_*", "TestContentLengthIsCheckedAgainstTheContent", "the stream is reset"},
	{"header block in CONTINUATION frames", "TestServer_Request_WithContinuation TestServerContinuationFlood TestServerContinuationAfterInvalidHeader", "TestH2_03ContinuationsAreCounted", ""},
	{"large headers", "TestServerDoS_MaxHeaderListSize TestRequestLimit", "TestH2_05LargeHeaders", "the default limit is 16 KiB"},
	{"request trailers", "TestServerReadsTrailers TestTrailersClientToServer", "TestTrailersBothWays", ""},
	{"Expect: 100-continue", "TestServer_Response_Automatic100Continue TestServerExpect TestExpect100ContinueAfterHandlerWrites TestServerReadAfterWriteHeader100Continue", "TestContinueIsSentForWhoReads", ""},
	{"content is streamed both ways", "TestTransportFullDuplex TestBidiStreamReverseProxy", "TestContentIsStreamedBothWays", ""},
	{"content is read while the response is written", "TestConcurrentReadWriteReqBody TestRequestBodyReadCloseRace", "TestContentMayBeReadWhileTheResponseIsWritten", ""},
	{"content left unread", "TestUnreadFlowControlReturned_Server TestServerResetStreamUnreadBody TestServerUnreadRequestBodyLarge", "TestResponseBeforeTheContentIsRead", ""},
	{"MaxBytesReader", "TestRequestBodyLimit TestMaxBytesHandler", "TestMaxBytesReaderBoundsTheContent", ""},

	// What a server sends for a response.
	{"small response: length, type, date", "TestH12_SmallBody TestServer_Response_Data_SniffLenType TestServerNoDate", "TestSmallResponseIsWholeTypedDatedAndCounted", ""},
	{"Content-Type of the handler", "TestServer_Response_Data_Sniff_DoesntOverride TestServerNoDuplicateContentType", "TestContentTypeOfTheHandlerStays", ""},
	{"HEAD", "TestHeadResponses TestH12_Head* TestServerNoAutoContentLengthOnHead", "TestHeadHasTheHeaderOfGet", ""},
	{"204 and 304", "TestH2_204NoBody TestH2_304NoBody TestCodesPreventingContentTypeAndBody", "TestResponsesThatMayHaveNoContent", ""},
	{"fields set to nil are not added", "TestServerContentLengthCanBeDisabled TestDisableContentLength", "TestContentLengthCanBeDisabled", ""},
	{"more content than promised", "TestHandlerWritesTooMuch", "TestLengthsOfTheHandlersAreChecked", ""},
	{"less content than promised", "TestH12_HandlerWritesTooLittle", "TestLengthsOfTheHandlersAreChecked", "the stream is reset behind it"},
	{"Content-Length that is none", "TestServerIgnoresContentLengthSignWhenWritingChunks TestH12_ServerEmptyContentLength", "TestLengthsOfTheHandlersAreChecked", ""},
	{"informational responses", "TestServerSendsProcessing TestServerSendsEarlyHints TestEarlyHintsRequest TestWriteHeaderSwitchingProtocols", "TestInformationalResponsesHaveNoLength", ""},
	{"header after the first write", "TestServer_Response_Data_IgnoreHeaderAfterWrite_*", "TestHeaderIsThatOfTheFirstWrite", ""},
	{"fields that may not be sent", "TestServerDoesntWriteInvalidHeaders TestServer_Response_TransferEncoding_chunked TestContentEncodingNoSniffing", "TestHeaderIsThatOfTheFirstWrite", ""},
	{"response trailers", "TestServerWritesTrailers_* TestServerWritesUndeclaredTrailers TestServerUndeclaredTrailers TestServer_Response_Stream_With_Missing_Trailer", "TestTrailersOfAResponse", ""},
	{"WriteHeader with no status", "TestWriteHeader0 TestWriteHeaderNoCodeCheck", "TestStatusCodesThatAreNone", ""},
	{"Flush", "TestServer_Response_Header_Flush_MidWrite TestH12_Flush* TestResponseControllerFlush", "TestContentIsStreamedBothWays", ""},
	{"a response without content", "TestServer_Response_NoData*", "TestResponsesWithoutContent", ""},
	{"the end needs no window", "TestServer_Response_Empty_Data_Not_FlowControlled", "TestEndOfAResponseNeedsNoWindow", ""},
	{"large header of a response", "TestServer_Response_ManyHeaders_With_Continuation", "TestLargeResponseHeadersGoOutInContinuations", ""},
	{"large responses pass the windows", "TestServer_Response_LargeWrite*", "TestLargeContentPassesTheWindows", ""},
	{"Connection: close", "TestServerHandlerConnectionClose", "TestConnectionCloseSaysGoodbye", ""},
	{"server push", "TestServer_Push_*", "", "there is none"},
	{"RFC 7540 priorities", "TestServerRFC7540*", "TestPeerGreets", "there are none"},
	{"SETTINGS_NO_RFC7540_PRIORITIES", "TestServerSettingNoRFC7540Priorities*", "TestH2FatalFrames", ""},
	{"RFC 9218 priorities", "TestServerRFC9218Priority TestServerRFC9218PrioritySmallPayload", "TestResponsesGoOutByUrgency", "of nine frames one goes to another"},
	{"RFC 9218 priorities of proxies and of clients that know none", "TestServerRFC9218PriorityIgnoredWhenProxied TestServerRFC9218PriorityAware", "TestResponsesShareWhereTheyMay", ""},

	// Handlers.
	{"panics cost the stream", "TestHandlerPanic TestHandlerPanicNil TestInterruptWithPanic", "TestPanicsCostTheStreamOnly", ""},
	{"context of a request", "TestServerRequestContextCancel_* TestServerRequestCancelOnError TestServer_CloseNotify_* TestCloseNotifier", "TestContextOfARequestEnds", ""},
	{"blocked handlers are woken", "TestServer_RSTStream_Unblocks_* TestServer_Response_RST_Unblocks_LargeWrite TestServer_DeadConn_Unblocks_Read", "TestBlockedHandlersAreWokenByAReset", ""},
	{"writes to a client that has gone", "TestServer_HandlerWriteErrorOnDisconnect", "TestWritesToAClientThatHasGoneFail", ""},
	{"buffers written from stay the handler's", "TestServerWriteDoesNotRetainBuffer*", "TestWritesDoNotKeepTheirBuffer", ""},
	{"use after the handler's return", "TestIssue20704Race TestServerSendDataAfterRequestBodyClose TestResponseControllerHijack", "TestUseAfterTheHandlersReturn", ""},
	{"deadlines of ResponseController", "TestResponseControllerSet* TestServerSetReadWriteDeadlineRace", "TestDeadlinesOfAResponseMayMove", "they may move after they have passed"},
	{"wrapped ResponseWriters", "TestWrappedResponseController", "TestAcceptUnderMiddleware", ""},
	{"BaseContext, ConnContext, context keys, TLS", "TestServerContext* TestConnContextNotModifyingAllContexts TestSetsRemoteAddr", "TestContextsOfTheServer", ""},

	// The server as a whole.
	{"ReadTimeout and WriteTimeout", "TestServerReadTimeout TestServerWriteTimeout TestWriteDeadline*", "TestReadAndWriteTimeoutsAreEachRequests", ""},
	{"timeouts do not reach sockets", "", "TestServerTimeoutsDoNotReachSockets", ""},
	{"IdleTimeout", "TestServerIdleTimeout* TestAPIServerIdleTimeout", "TestIdleConnectionSaysGoodbye", "there is a default"},
	{"Server.HTTP2, MaxHeaderBytes, ReadHeaderTimeout", "TestAPIServerMax* TestAPIServerWriteByteTimeout TestServerReadHeaderTimeoutIsCleared", "TestLimitsTheServerSaysItself", "frame and table sizes are not used"},
	{"PING of a silent client", "TestServerPingSent TestServerPingResponded TestAPIServerPingTimeout", "TestServerAsksOnlyWhereToldTo", ""},
	{"peer that takes nothing", "TestServerWriteByteTimeout", "TestH2_24PeerThatStopsReading", ""},
	{"ConnState", "TestServerConnState TestServer_StateTransitions", "TestConnStateTellsOfStreams", ""},
	{"ConnState of streams that outlive their handlers", "TestServerConnState", "TestConnStateHearsOfStreamsThatOutliveTheirHandlers", ""},
	{"Shutdown", "TestServerShutdown TestServerGracefulShutdown TestNoErrorLoggedOnPostAfterGOAWAY", "TestShutdownLetsRequestsFinish", ""},
	{"Close", "TestServerCloseDeadlock TestServer_NoCrash_HandlerClose_Then_ClientClose", "TestCloseErrorsAreTyped", ""},
	{"SetKeepAlivesEnabled(false)", "TestServerKeepAlivesEnabled", "", "is not seen"},
	{"concurrent streams", "TestServer_Rejects_Too_Many_Streams TestServerMaxHandlerGoroutines", "TestH2_21ConcurrentStreams", ""},
	{"floods", "TestServer_MaxQueuedControlFrames", "TestH2AttacksMeetTheirLimits", ""},
	{"frames out of place", "TestServer_Rejects_* TestRejectFrameOnIdle_*", "TestH2FatalFrames", ""},
	{"large frames", "TestServer_RejectsLargeFrames", "TestLargerFramesWhereTheyAreAllowed", ""},
	{"header blocks that cannot be decoded", "TestCompressionErrorOnWrite TestCompressionErrorOnClose TestIssue53", "TestH2FatalFrames", ""},
	{"HEADERS on a half-closed stream", "TestServer_Headers_HalfCloseRemote", "TestH2_21FramesOnClosedAndHalfClosedStreams", ""},
	{"fatal errors behind GOAWAY", "TestProtocolErrorAfterGoAway", "TestFatalErrorWhileDraining", ""},
	{"windows received", "TestServer_Handler_Sends_WindowUpdate* TestServerReturnsStreamAndConnFlowControlOnBodyClose TestServerInitialFlowControlWindow", "TestH2_17ReceiveWindows", ""},
	{"windows of content that is closed unread", "TestServerWindowUpdateOnBodyClose", "TestWindowsReturnWhenContentIsClosed", ""},
	{"ServeConn", "TestServeConnNilOpts TestServerHandleCustomConn", "", "There is no ServeConn"},
	{"windows beyond their bound", "TestServer_Send_* TestServerSettingsFlowControlUpdate*", "TestH2FatalFrames", ""},
	{"HPACK tables", "TestServer_MaxEncoderHeaderTableSize TestServer_HeaderTableSizeDuringWrite TestTransportMaxEncoderHeaderTableSize", "TestH2_08EncoderTableStaysSmallAndDecodable", ""},
	{"connections without TLS", "TestServerUnencryptedHTTP2HeaderTimeout TestTransportServerProtocols", "TestCleartextPriorKnowledge", ""},
	{"upgrade to h2c", "TestServerUpgradeRequestPrefaceFailure TestAPIServeConnUpgrade", "TestH2_30UpgradeToH2CIsIgnored", ""},
	{"TLS that HTTP/2 does not allow", "TestServer_Rejects_TLS* TestServer_Advertises_Common_Cipher", "TestH2_31TLSBefore12IsRefused", ""},
	{"smaller HPACK tables", "TestServer_MaxDecoderHeaderTableSize TestTransportMaxDecoderHeaderTableSize", "TestSmallerHeaderTable", ""},
	{"CountError, PermitProhibitedCipherSuites", "TestAPIServerPermitProhibitedCipherSuites TestAPIServerCountError TestAPITransportCountError", "", "CountError and PermitProhibitedCipherSuites are not used"},
	{"configuration that could not work", "TestConfigureServer TestConfigureTransport", "TestConfigureErrsWhereItWouldNotBeUsed", ""},

	// Requests of a client.
	{"connections are shared", "TestTransportReusesConns TestAPITransportConnectionClose TestTransportConnectionCloseOnRequest* TestIssue67671", "TestRequestsShareAConnectionUnlessTheySayClose", ""},
	{"DisableKeepAlives", "TestTransportDisableKeepAlives*", "TestDisableKeepAlivesIsAConnectionEach", ""},
	{"connections opened at a time", "TestTransportDiscardsUnneededConns TestTransportPoolConnHTTP2Startup TestTransportGroupsPendingDials", "TestRequestsThatStartTogetherKeepOneConnection", ""},
	{"a further connection beyond the server's limit", "TestTransportRequestsLowServerLimit TestAPITransportStrictMaxConcurrentStreamsDisabled", "TestAFurtherConnectionBeyondTheServersLimit", ""},
	{"StrictMaxConcurrentRequests", "TestTransportRequestsStallAtServerLimit TestAPITransportStrictMaxConcurrentStreamsEnabled", "TestStrictMaxConcurrentRequestsWait", ""},
	{"retries", "TestTransportRetryAfter* TestTransportBodyRewindRace TestTransportNoRetryOnStreamProtocolError", "TestRequestsAreSentAgainWhereThatIsSafe", "PROTOCOL_ERROR a request is not sent again"},
	{"retries have a limit", "TestTransportRetryHasLimit", "TestRetriesHaveALimit", "without waiting in between"},
	{"cancelling", "TestCancelRequestMidBody TestClientTimeout* TestTransportCancelRequest* TestTransportTimeoutServerHangs", "TestCancelOfEveryKind", "net/http's unexported error is not returned"},
	{"ResponseHeaderTimeout", "TestTransportResponseHeaderTimeout*", "TestResponseHeaderTimeout", ""},
	{"error of the request's content", "TestTransportBodyReadError*", "TestContentsErrorIsReturnedAsItIs", ""},
	{"request's content is closed, once", "TestTransportClosesRequestBody TestTransportCloseRequestBody TestTransportClosesBodyOnInvalidRequests", "TestContentIsClosedOnEveryWay", ""},
	{"request's content that hangs", "TestTransportCloseResponseBodyWhileRequestBodyHangs", "TestContentThatHangsIsClosedWithTheRequest", ""},
	{"Expect: 100-continue", "TestTransportExpectContinue", "TestExpectContinue", ""},
	{"trailers", "TestTransportReceiveUndeclaredTrailer TestTransportInvalidTrailer_*", "TestTrailersBothWays", ""},
	{"User-Agent", "TestTransportUserAgent", "TestUserAgentIsOne", ""},
	{"gzip", "TestH12_AutoGzip* TestTransportGzip* TestRoundTripGzip TestTransportDisableCompression TestTransportContentEncodingCaseInsensitive TestTransportRangeAndGzip", "TestGzipIsAskedForAndUndone", ""},
	{"httptrace", "TestTransportEventTrace TestTransportTraceGotConnH2IdleConns TestAPITransportTrace TestTransportGetGotConnHooks_*", "TestTraceTellsEverything", ""},
	{"Got1xxResponse may refuse", "TestTransportUnknown1xx", "TestGot1xxResponseMayRefuse", ""},
	{"limits of informational responses", "TestTransportLimits1xxResponses TestTransport1xxLimits", "TestInformationalResponsesAreLimited", ""},
	{"responses in every shape", "TestTransportResPattern_* TestPadHeaders TestTransportBodyEagerEndStream", "TestResponsesInEveryShape", ""},
	{"responses out of order", "TestTransportDataAfter1xxHeader TestTransportBodyDoubleEndStream TestTransportContentLengthWithoutBody TestTransportInvalidTrailer_*", "TestResponsesOutOfOrder", ""},
	{"responses to HEAD", "TestTransportReadHeadResponse TestTransportReadHeadResponseWithBody", "TestResponsesToHEAD", "content that comes for HEAD all the same"},
	{"content longer than it says", "TestTransportBodyLargerThanSpecifiedContentLength_*", "TestMalformedResponses", ""},
	{"large header of a response, at the client", "TestTransportChecksResponseHeaderListSize TestAPITransportMaxHeaderListSize", "TestTransportCountsLimits", ""},
	{"requests that cannot be sent", "TestTransportChecksRequestHeaderListSize TestTransportFailsOnInvalidHeadersAndTrailers", "TestRequestsThatCannotBeSent", ""},
	{"connection-specific fields of a request", "TestTransportRejectsConnHeaders", "TestConnectionSpecificFieldsAreNotSent", "are left out, not refused"},
	{"Cookie", "TestTransportCookieHeaderSplit", "", "A request's cookies stay one field"},
	{"windows that a server makes too large", "TestTransportSettingsFlowControlUpdate* TestTransportWindowUpdateBeyondLimit", "TestServersThatMakeWindowsTooLarge", ""},
	{"PING with a reset", "TestTransportSendPingWithReset TestTransportNoPingAfterResetWithFrames TestTransportSendNoMoreThanOnePingWithReset", "TestSilentServerIsAskedAndGivenUp", "no PING goes with a reset"},
	{"connection lost before and in a response", "TestClientConnCloseAtHeaders TestClientConnCloseAtBody TestTransportAbortClosesPipes", "TestResponseThatEndsEarlyIsReadAsFarAsItGoes", ""},
	{"content that comes after the response has begun", "TestTransportReqBodyAfterResponse_200", "TestContentIsStreamedBothWays", ""},
	{"reset before the response", "TestTransportServerResetStreamAtHeaders", "TestRefusedStreamMayBeSentAgain", ""},
	{"malformed responses", "TestTransportHandlesInvalidStatuslessResponse TestTransportReturnsErrorOnBadResponseHeaders TestTransportResponseDataBeforeHeaders TestTransportRejectsContentLengthWithSign", "TestMalformedResponses", ""},
	{"response that ends early", "TestTransportBodyReadError_* TestH12_HandlerWritesTooLittle", "TestResponseThatEndsEarlyIsReadAsFarAsItGoes", ""},
	{"PING of a silent server", "TestTransportCloseAfterLostPing TestTransportPingWhenReading* TestTransportConnBecomesUnresponsive TestAPITransportPingTimeout", "TestSilentServerIsAskedAndGivenUp", "it is the default"},
	{"GOAWAY", "TestTransportUsesGoAwayDebugError_* TestTransportClosesConnAfterGoAway*", "TestH2_27GoAwayFromTheServer", ""},
	{"idle timeout", "TestIdleConnTimeout TestAPITransportIdleConnTimeout TestIssue66763Race", "TestIdleClientConnectionCloses", "there is a default"},
	{"settings of the http.Transport", "TestTransportIdleConnTimeout TestTransportResponseHeaderLength", "TestIdleTimeoutOfTheHTTPTransport", ""},
	{"CloseIdleConnections", "TestCloseIdleConnections TestAPITransportCloseIdleConnections TestTransportCloseIdleConnsThenReturn", "TestCloseIdleConnectionsRightAfterASocketsEnd", ""},
	{"proxies and dial hooks", "TestTransportProxy TestTransportDialTLSContext TestTransportDialContext TestTransportDialTLS", "TestProxyAndDialHooksOfTheHTTPTransport", ""},
	{"http.Transport without TLS", "TestTransportH2c TestTransportServerProtocols", "TestHTTPTransportWithoutTLS", ""},
	{"http.ClientConn", "TestClientConnReserve* TestClientConnReservations TestClientConnRoundTripBlocks TestTransportNewClientConnRoundTrip", "TestHTTPClientConnReservations", ""},
	{"ClientConn.Shutdown", "TestClientConnShutdown* TestAPIClientConnShutdown*", "TestClientShutdownWaitsForItsStreams", ""},
	{"ClientConn.Ping", "TestClientConnPing TestAPIClientConnPing", "TestPingMakesTheRoundTrip", ""},
	{"extended CONNECT", "TestExtendedConnectClient*", "TestXC17ClientWaitsForSettings", ""},
	{"connection that breaks before SETTINGS", "TestExtendedConnectReadFrameError TestRoundTripDoesntConsumeRequestBodyEarly", "TestConnectionThatBreaksBeforeSettings", ""},
	{"path, authority, requests without content", "TestTransportPath TestTransportRequestPathPseudo TestTransportConnectRequest TestTransportNoBodyMeansNoDATA", "TestRequestsAsTheyAreSent", ""},
	{"content of every size, the request used again", "TestTransportBody TestTransportNoRaceOnRequestObjectAfterRequestComplete", "TestContentOfEverySize", ""},
	{"many requests at once", "TestTransportFrameBufferReuse", "TestManyRequestsAtOnce", ""},
	{"content refused by the response", "TestTransportReqBodyAfterResponse_403 TestTransportStreamEndsWhileBodyIsBeingWritten TestTransport300ResponseBody", "TestContentThatIsRefusedIsNotSent", "sent on until the response has ended"},
	{"response without the content being read", "TestTransportResponseAndResetWithoutConsumingBodyRace", "TestResponseWithoutTheContentIsReadInFull", ""},
	{"content's window opened by SETTINGS", "TestTransportAdjustsFlowControl", "TestContentGoesOnWhenSettingsOpenTheWindow", ""},
	{"content whose Close is slow", "TestTransportSlowClose", "TestContentThatIsSlowToCloseHoldsUpNobody", ""},
	{"requests that cannot be written", "TestTransportBlockingRequestWrite", "TestBlockedRequestsKeepNobodyElse", ""},
	{"writes that fail", "TestTransportDoubleCloseOnWriteError TestTransportNewClientConnCloseOnWriteError TestTransportRoundtripCloseOnWriteError", "TestWritesThatFailEndTheConnection", ""},
	{"writes that hang or are slow", "TestTransportPingWriteBlocks TestTransportWriteByteTimeout TestTransportSlowWrites", "TestWritesThatHangEndTheConnectionAndSlowOnesDoNot", ""},
	{"Content-Length of a response", "TestTransportResponseContentLength", "TestContentLengthOfAResponse", "not left out of a response: the response is malformed"},
	{"connection-specific fields of a response", "TestTransportResponseConnHeaders", "TestMalformedResponses", "not left out of a response: the response is malformed"},
	{"credit follows the reader of a response", "TestTransportFlowControl", "TestClientHoldsWhatItAskedFor", "connection's credit returns at once"},
	{"credit of what is not read, and of padding", "TestTransportReturnsUnusedFlowControl* TestTransportReturnsDataPaddingFlowControl TestTransportAllocationsAfterResponseBodyClose", "TestCreditOfWhatIsNotReadReturns", ""},
	{"content that crosses a cancellation", "TestTransportCancelDataResponseRace", "TestClientCancelsWithReset", ""},
	{"MAX_FRAME_SIZE of the client", "TestTransportMaxFrameReadSize", "", "frame and table sizes are not used"},
	{"MAX_FRAME_SIZE of 0", "TestTransportDoNotHangOnZeroMaxFrameSize", "TestH2FatalFrames", ""},
	{"server of HTTP/1.1", "TestTransportFailureErrorForHTTP1Response", "TestServerOfHTTP1IsNamedAsOne", ""},
	{"dial that another request had begun", "TestDialRaceResumesDial", "TestDialGoesOnForWhoStillWaits", ""},
	{"connections that the http.Transport has opened", "TestTransportTLSNextProtoConnOK", "TestHTTPTransportAndSocketsShareConnections", ""},
	{"such connections that break before they are used", "TestTransportTLSNextProtoConnImmediateFailure*", "TestConnectionThatBreaksAtOnceIsReplaced", ""},
	{"such connections that idle before they are used", "TestTransportTLSNextProtoConnIdleTimoutBeforeUse", "TestIdleTimeoutOfTheHTTPTransport", ""},
}

func TestEveryRowOfParityHasItsTestOrItsReason(t *testing.T) {
	tests := testFunctions(t)
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	said := strings.Join(strings.Fields(strings.ReplaceAll(string(doc), "//", "")), " ")
	for _, row := range parity {
		assert.True(t, row.ours != "" || row.but != "", "%s: neither a test nor a reason", row.what)
		if row.ours != "" {
			assert.Contains(t, tests, row.ours, row.what)
		}
		if row.but != "" {
			assert.Contains(t, said, row.but, "%s: the package comment does not say so", row.what)
		}
	}
}

// Every test of x/net's two large files has a row.
func TestParityIsComplete(t *testing.T) {
	var patterns []string
	for _, row := range parity {
		patterns = append(patterns, strings.Fields(row.theirs)...)
	}
	for _, file := range []string{"server", "transport"} {
		list, err := os.ReadFile("testdata/xnet_" + file + "_tests.txt")
		require.NoError(t, err)
		names := strings.Fields(string(list))
		require.Greater(t, len(names), 100, file)
		for _, name := range names {
			assert.True(t, slices.ContainsFunc(patterns, func(p string) bool {
				prefix, more := strings.CutSuffix(p, "*")
				return name == p || more && strings.HasPrefix(name, prefix)
			}), "%s_test.go: no row says what becomes of %s", file, name)
		}
	}
}

// testFunctions returns the names of the package's tests.
func testFunctions(t *testing.T) map[string]bool {
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}
