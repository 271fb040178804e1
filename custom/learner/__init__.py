"""SB3's DQN and QR-DQN with this project's replay and update."""
