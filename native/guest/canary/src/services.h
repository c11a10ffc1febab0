// What ring 3 asks of ring 0: service number in eax, arguments in rdi and rsi, then UD2. Included by entry.S too.
#pragma once

#define SERVICE_WAIT 0         /* sleep until an interrupt, unless one is already pending */
#define SERVICE_PRINT 1        /* rsi bytes from rdi to the serial port */
#define SERVICE_BOOTED 2       /* write the boot timer */
#define SERVICE_ARM_TIMER 3    /* timer interrupt after rdi * 16 ns, edi at most 2^32 - 1 */
#define SERVICE_OUT_BYTE 4     /* byte sil to port di */
#define SERVICE_TRIPLE_FAULT 5 /* does not return */
#define SERVICE_HANG 6         /* interrupts off and halted; does not return */
#ifdef CANARY_DEVICES
#define SERVICE_IN_BYTE 7 /* byte from port di, in eax */
#endif
