"""How the models that ship were made, each as a program that makes it again."""
