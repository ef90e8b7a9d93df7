import './panel.css';
import './display.css';
