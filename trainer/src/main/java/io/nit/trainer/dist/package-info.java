/**
 * Several processes that train one model together: who they are ({@link
 * io.nit.trainer.dist.Ranks}), what they compute together ({@link
 * io.nit.trainer.dist.Collectives}), and starting them on one host ({@link
 * io.nit.trainer.dist.LocalLauncher}).
 *
 * <p>On GPUs they talk over NCCL ({@link io.nit.trainer.dist.NcclCollectives}), whose sums of a
 * gradient begin while the backward is at work ({@link io.nit.trainer.dist.BucketedAllReduce}). On
 * the CPU they talk over sockets of our own ({@link io.nit.trainer.dist.SocketCollectives}): the
 * Gloo bindings of JavaCPP's PyTorch have no store that a process group could be made with.
 */
package io.nit.trainer.dist;
