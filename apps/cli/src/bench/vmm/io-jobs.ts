/** One after the other; what each is about is in its name. */
export const IO_JOBS = [
  { name: 'read-128k', options: 'rw=read bs=128k iodepth=8 ioengine=libaio' },
  { name: 'write-128k', options: 'rw=write bs=128k iodepth=8 ioengine=libaio' },
  { name: 'random-read-4k', options: 'rw=randread bs=4k iodepth=1 ioengine=psync' },
  { name: 'random-write-4k', options: 'rw=randwrite bs=4k iodepth=1 ioengine=psync' },
  { name: 'random-read-4k-32-deep', options: 'rw=randread bs=4k iodepth=32 ioengine=libaio' },
  { name: 'random-write-4k-32-deep', options: 'rw=randwrite bs=4k iodepth=32 ioengine=libaio' },
  /** Each write is followed by a flush, which is what is timed. */
  { name: 'flush', options: 'rw=randwrite bs=4k iodepth=1 ioengine=psync fdatasync=1' },
] as const;

/** The guest's own cache is left out; the disk is filled before, so that no block is new. */
export const FIO_JOBS = `[global]
filename=/dev/measured
direct=1
time_based
runtime=\${SECONDS_EACH}
group_reporting
randrepeat=1
stonewall
norandommap
percentile_list=50:99
${IO_JOBS.map(({ name, options }) => `[${name}]\n${options.replaceAll(' ', '\n')}\n`).join('')}`;
