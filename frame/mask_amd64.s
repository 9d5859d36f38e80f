//go:build !purego && !race

#include "textflag.h"

// func xorSSE2(dst, src *byte, n int, kk, last uint64)
TEXT ·xorSSE2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ kk+24(FP), X0
	MOVQ last+32(FP), X6
	PUNPCKLQDQ X0, X0
	PUNPCKLQDQ X6, X6

	// The last 16 bytes overlap those before them: read first, written last.
	MOVOU -16(SI)(CX*1), X5
	PXOR X6, X5
	LEAQ -16(DI)(CX*1), R8

	SUBQ $64, CX
	JLT rest

loop:
	MOVOU 0(SI), X1
	MOVOU 16(SI), X2
	MOVOU 32(SI), X3
	MOVOU 48(SI), X4
	PXOR X0, X1
	PXOR X0, X2
	PXOR X0, X3
	PXOR X0, X4
	MOVOU X1, 0(DI)
	MOVOU X2, 16(DI)
	MOVOU X3, 32(DI)
	MOVOU X4, 48(DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $64, CX
	JGE loop

rest:
	// CX is the number of bytes left less 64: its low six bits are the number.
	TESTQ $32, CX
	JEQ rest32
	MOVOU 0(SI), X1
	MOVOU 16(SI), X2
	PXOR X0, X1
	PXOR X0, X2
	MOVOU X1, 0(DI)
	MOVOU X2, 16(DI)
	ADDQ $32, SI
	ADDQ $32, DI

rest32:
	TESTQ $16, CX
	JEQ rest16
	MOVOU 0(SI), X1
	PXOR X0, X1
	MOVOU X1, 0(DI)

rest16:
	MOVOU X5, 0(R8)
	RET
