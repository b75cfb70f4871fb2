/**
 * Several processes that train one model together: who they are ({@link
 * io.nit.trainer.dist.Ranks}), what they compute together ({@link
 * io.nit.trainer.dist.Collectives}), and starting them on one host ({@link
 * io.nit.trainer.dist.LocalLauncher}).
 *
 * <p>On the CPU they talk over sockets of our own: the Gloo bindings of JavaCPP's PyTorch have no
 * store that a process group could be made with.
 */
package io.nit.trainer.dist;
